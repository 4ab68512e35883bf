"""Inference"""
