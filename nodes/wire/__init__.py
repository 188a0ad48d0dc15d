"""The wire: typed messages, their frames, authenticated sockets."""
