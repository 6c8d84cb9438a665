"""What could keep an account from being rebalanced, or let its guard loosen unseen."""
