"""Ways of learning: modules whose `forward` returns the losses of a batch and whose `after_step` keeps teachers.

The loop, its processes, its resuming and its budgets know an `Objective` and no more.
"""
