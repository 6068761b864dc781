"""What the ops and a whole sampler step cost, as ratios within one run: python -m benchmarks.run"""
