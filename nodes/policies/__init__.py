"""Policies: plain functions of plain data; no torch, no sockets, no clock."""
