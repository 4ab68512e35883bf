"""Inspect"""
