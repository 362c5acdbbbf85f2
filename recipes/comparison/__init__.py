"""Compare losses on your data: which one, at equal steps and equal tuning?"""
