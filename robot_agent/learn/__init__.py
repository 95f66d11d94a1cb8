"""The slow loop: finetune, trust, imagine, judge, update; a process without ROS."""
