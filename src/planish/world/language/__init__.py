"""Language"""
