"""Derivatives of epsilon along the probability flow."""
