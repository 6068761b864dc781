"""What heads learn from the network itself, and the run that teaches them."""
