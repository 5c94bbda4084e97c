"""The story: intake, judgement, routing, states and the journey."""
