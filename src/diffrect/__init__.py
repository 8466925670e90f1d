"""diffrect"""
