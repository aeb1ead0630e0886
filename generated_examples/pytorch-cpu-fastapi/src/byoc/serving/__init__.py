"""What `serve` runs: workers around one loaded model, and health checks that no prediction can block."""
