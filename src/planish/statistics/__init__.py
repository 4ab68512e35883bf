"""Statistics"""
