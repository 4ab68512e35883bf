"""Judges"""
