"""Chat"""
