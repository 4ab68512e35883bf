"""Figures"""
