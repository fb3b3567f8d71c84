"""What training and serving of demand share: the count distribution, its calibration, the plan, the stock."""
