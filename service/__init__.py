"""Sluss: a referral comes in, is judged and routed by the region's own rules, and every party sees what it needs."""
