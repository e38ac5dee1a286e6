"""Training: one loop for everything whose forward pass returns losses."""
