"""Trials, paired comparisons, statistics and reports; improvement is judged here, by the truth."""
