"""Who may do what. Everything that asks for a caller's identity or rights asks here."""
