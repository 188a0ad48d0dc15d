"""The host's side of the serverless platform: its settings, tasks as they come, what is replayed, what is recorded."""
