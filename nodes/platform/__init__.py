"""The serverless platform: functions, the processes that they run in, and the store that they share state by."""
