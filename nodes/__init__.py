"""Node side: everything that runs inside containers, and nothing that knows about Docker."""
