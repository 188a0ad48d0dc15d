"""Decision time and quality of the orchestrator, from 10 to 10,000 units: ``python -m benchmarks.orchestrator``."""
