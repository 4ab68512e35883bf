"""Gold"""
