"""PPO with its variants (PPO-ptx, RLOO, GRPO): settings, models, rewards, the iteration and its monitor."""
