"""Mutation testing: a module's own tests have to fail for each small change of its code."""
