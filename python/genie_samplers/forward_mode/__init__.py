"""Directional derivatives of networks, in forward mode: recorded, by torch.func.jvp, or by a double backward."""
