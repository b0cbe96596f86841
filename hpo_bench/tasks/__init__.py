"""What is trained on: molecules, and a closed-form problem with a known optimum."""
