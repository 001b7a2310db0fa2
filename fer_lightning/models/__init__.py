"""Networks, losses, schedules and the Lightning module that trains them."""
