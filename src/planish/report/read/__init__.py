"""Read"""
