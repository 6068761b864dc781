"""Doors through which plans reach other libraries; each drives PlanState."""
