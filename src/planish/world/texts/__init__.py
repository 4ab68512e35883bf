"""Texts"""
