"""What another policy would have earned in a slot, from a log that says how likely each shown item was.

One item of one slot a row (the item-level estimator): the policy draws one item for the slot. What several slots
of one page do to each other is not modelled.
"""

from training.evaluation.off_policy.bandit_log import BanditLog
from training.evaluation.off_policy.estimators import PolicyOnLog, estimate_value
from training.evaluation.off_policy.policies import FixedPolicy, Policy, SoftmaxPolicy
from training.evaluation.off_policy.reward_model import RewardModel

__all__ = ["BanditLog", "FixedPolicy", "Policy", "PolicyOnLog", "RewardModel", "SoftmaxPolicy", "estimate_value"]
