"""The way of a referral, one step a file. Each step reads as prose and owns one transaction."""
