"""Annotators"""
