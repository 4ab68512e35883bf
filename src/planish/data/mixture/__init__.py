"""Mixture"""
