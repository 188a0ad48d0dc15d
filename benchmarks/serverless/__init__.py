"""The serverless platform: orchestrators against baselines, small data against all (``make bench-serverless``)."""
