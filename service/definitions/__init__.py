"""What describes us: code systems, value sets, profiles, plans, operations. Pure functions of the pack and the code."""
