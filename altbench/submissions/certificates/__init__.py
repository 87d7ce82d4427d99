"""The certificate: its protocol, its rule, its page and its badge."""
