"""The one worker that every container runs: it hosts parts, moves them and paces their work."""
