"""Compare"""
