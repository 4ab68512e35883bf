"""Probe"""
