"""Subscriptions that others have with us: topics, what is asked for, who is told of what, and what is sent. Pure.

R4 rest-hooks with the Subscriptions R5 Backport guide, https://hl7.org/fhir/uv/subscriptions-backport/
"""
