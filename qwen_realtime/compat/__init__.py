"""The interfaces of other SDKs on top of the clients, so that existing programs change one import line."""
