"""Bring-up, replay, recording: the only room that knows all the others."""
