"""Heads on the features of a U-Net, that predict the derivative of epsilon or the defects of steps."""
