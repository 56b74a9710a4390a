create database if not exists csp_analytics;
