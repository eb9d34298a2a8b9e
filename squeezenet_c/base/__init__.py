"""What every wing needs, and nothing of networks."""
